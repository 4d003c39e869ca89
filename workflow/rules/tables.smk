# One job for all tables: reading the records takes longer than making a table of them.


rule tables:
    input:
        readable(jobs.tables),
    output:
        shown(jobs.table_files(), "table"),
        directory(layout.metrics),
    log:
        layout.log("tables"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        study=STUDY,
        names=jobs.record_tables(),
    shell:
        "naslora table {params.study:q} {params.names:q} > {log:q} 2>&1"
