rule report:
    input:
        readable(jobs.report),
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
        study=STUDY,
    shell:
        "naslora report {params.study:q} > {log:q} 2>&1"
