rule train:
    input:
        readable(jobs.train),
    output:
        layout.receipt("{task}", "{variant}", "{seed}"),
    log:
        layout.log("train", "{task}", "{variant}", "seed{seed}"),
    conda:
        "../../environment.yml"
    threads: needs.threads
    resources:
        mem_mb=needs.training_memory,
        runtime=needs.training_minutes,
        gpu=needs.training_gpus,
        nodes=needs.nodes,
        tasks=needs.tasks,
        tasks_per_gpu=needs.tasks_per_gpu,
        mpi=needs.mpi,
        slurm_extra=needs.spread,
    params:
        study=STUDY,
        launcher=needs.launcher,
    shell:
        "{params.launcher}naslora train {params.study:q} --task {wildcards.task:q}"
        " --variant {wildcards.variant:q} --seed {wildcards.seed:q} --record-divergence"
        " > {log:q} 2>&1"
