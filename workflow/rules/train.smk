rule train:
    input:
        manifest=ancient(layout.manifest("{task}")),
        images=images,
        weights=starting_weights,
    output:
        layout.receipt("{task}", "{variant}", "{seed}"),
    log:
        layout.log("train", "{task}", "{variant}", "seed{seed}"),
    group:
        grouped("runs")
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        lane=1,
        mem_mb=training_memory,
        runtime=growing(BACKBONE.training_minutes),
        gpu=gpus,
        nodes=if_distributed(NODES),
        tasks=if_distributed(processes),
        tasks_per_gpu=if_distributed(-1),
        mpi=if_distributed("srun"),
        slurm_extra=if_distributed(spread),
    params:
        settings=run_fingerprint,
        data=data_fingerprint,
        study=study_options,
        launcher=launcher,
    shell:
        "{params.launcher}naslora train {params.study} --task {wildcards.task}"
        " --variant {wildcards.variant} --seed {wildcards.seed} --record-divergence > {log} 2>&1"
