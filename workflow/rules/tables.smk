rule table:
    input:
        records(),
    output:
        [layout.table("{table}", suffix) for suffix in ("csv", "md", "tex")],
    log:
        layout.log("table", "{table}"),
    wildcard_constraints:
        table="|".join(TABLES),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        selection=selection_fingerprint,
        study=study_options,
    shell:
        "naslora table {params.study} {wildcards.table} > {log} 2>&1"
