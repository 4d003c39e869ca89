# Studies with small backbones: all runs of a task with one seed, one after the other in one process.
# The command skips what is up to date, and makes controls and analyses too.


rule batch:
    input:
        readable(jobs.batch),
    output:
        touch(layout.batch("{task}", "{seed}")),
    log:
        layout.log("batch", "{task}", "seed{seed}"),
    conda:
        "../../environment.yml"
    threads: study.training.threads
    resources:
        mem_mb=needs.memory,
        runtime=needs.batch_minutes,
        gpu=needs.gpus,
    params:
        study=STUDY,
    shell:
        "naslora batch {params.study:q} --task {wildcards.task:q} --seed {wildcards.seed:q}"
        " > {log:q} 2>&1"
