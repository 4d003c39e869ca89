# For small backbones: all runs of a task, with one seed or all, in one process. The command skips
# results that are up to date, and also makes controls and analyses.


rule batch:
    input:
        readable(jobs.batch),
    output:
        touch(layout.batch("{task}", "{seeds}")),
    log:
        layout.log("batch", "{task}", "{seeds}"),
    wildcard_constraints:
        seeds=r"all|seed\d+",
    conda:
        "../../environment.yml"
    threads: study.training.threads
    resources:
        mem_mb=needs.memory,
        runtime=needs.batch_minutes,
        gpu=needs.gpus,
    params:
        study=STUDY,
        seeds=lambda wildcards: seeds_option(wildcards.seeds),
    shell:
        "naslora batch {params.study:q} --task {wildcards.task:q} {params.seeds}"
        " > {log:q} 2>&1"
