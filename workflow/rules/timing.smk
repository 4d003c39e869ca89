# Table 5, and the claims, which need its numbers too. They have separate jobs, so that no other
# table waits for measurements, or is missing if they fail.


rule timing:
    input:
        readable(jobs.timing),
    output:
        jobs.timed,
    log:
        layout.log("timing"),
    priority: 2  # otherwise it would wait until all cores are idle
    conda:
        "../../environment.yml"
    # Nothing else runs at the same time; in SLURM, its cores are its own.
    threads: lambda wildcards: workflow.resource_settings.cores or study.training.threads
    resources:
        mem_mb=needs.memory,
        runtime=needs.evaluation_minutes,
        gpu=needs.gpus,
        slurm_extra=needs.alone,
    params:
        study=STUDY,
    shell:
        "naslora time {params.study:q} --output {output:q} > {log:q} 2>&1"


rule timing_tables:
    input:
        readable(jobs.timing_tables),
    output:
        shown(jobs.timing_table_files(), "table"),
    log:
        layout.log("timing_tables"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        study=STUDY,
        names=jobs.timing_table_names(),
    shell:
        "naslora table {params.study:q} {params.names:q} > {log:q} 2>&1"
