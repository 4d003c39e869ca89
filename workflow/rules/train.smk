rule train:
    input:
        manifest=ancient(layout.manifest("{task}")),
        images=ancient(layout.prepared("{task}")),
        weights=starting_weights,
    output:
        layout.receipt("{task}", "{variant}", "{seed}"),
    log:
        layout.log("train", "{task}", "{variant}", "seed{seed}"),
    conda:
        "../../environment.yml"
    threads: study.training.threads
    resources:
        mem_mb=MEMORY,
        runtime=growing(TRAINING_MINUTES[study.sam.backbone]),
        gpu=GPUS,
    params:
        settings=run_fingerprint,
        data=data_fingerprint,
        study=study_options,
    shell:
        "naslora train {params.study} --task {wildcards.task} --variant {wildcards.variant}"
        " --seed {wildcards.seed} --record-divergence > {log} 2>&1"
