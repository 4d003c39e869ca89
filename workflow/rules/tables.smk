# One job for all tables: reading the records takes longer than making a table of them.


rule tables:
    input:
        records(),
        analyses(),
    output:
        shown(tables(), "table"),
        directory(layout.metrics),
    log:
        layout.log("tables"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        selection=selection_fingerprint,
        names=record_tables(),
        study=study_options,
    shell:
        "naslora table {params.study} {params.names} > {log} 2>&1"
