rule report:
    input:
        records(),
        tables(),
        timing_tables(),
        drawable_figures(),
    output:
        layout.report,
    log:
        layout.log("report"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        selection=selection_fingerprint,
        study=study_options,
    shell:
        "naslora report {params.study} > {log} 2>&1"
