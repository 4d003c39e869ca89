rule evaluate:
    input:
        receipt=layout.receipt("{task}", "{variant}", "{seed}"),
        manifest=ancient(layout.manifest("{task}")),
        images=images,
        weights=starting_weights,
    output:
        layout.record("{task}", "{variant}", "{seed}"),
    log:
        layout.log("evaluate", "{task}", "{variant}", "seed{seed}"),
    group:
        grouped("runs")
    conda:
        "../../environment.yml"
    threads: study.training.threads
    resources:
        lane=1,
        mem_mb=MEMORY,
        runtime=growing(BACKBONE.evaluation_minutes),
        gpu=min(GPUS, 1),
    params:
        settings=evaluation_fingerprint,
        study=study_options,
    shell:
        "naslora evaluate {params.study} --task {wildcards.task} --variant {wildcards.variant}"
        " --seed {wildcards.seed} > {log} 2>&1"


rule controls:
    input:
        manifest=ancient(layout.manifest("{task}")),
        images=images,
    output:
        [layout.record("{task}", control, 0) for control in CONTROLS],
    log:
        layout.log("controls", "{task}"),
    group:
        grouped("data")
    conda:
        "../../environment.yml"
    resources:
        lane=1,
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        settings=controls_fingerprint,
        data=data_fingerprint,
        study=study_options,
    shell:
        "naslora controls {params.study} --task {wildcards.task} > {log} 2>&1"
