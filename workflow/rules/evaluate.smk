rule evaluate:
    input:
        readable(jobs.evaluate),
    output:
        layout.record("{task}", "{variant}", "{seed}"),
    log:
        layout.log("evaluate", "{task}", "{variant}", "seed{seed}"),
    conda:
        "../../environment.yml"
    threads: study.training.threads
    resources:
        mem_mb=needs.memory,
        runtime=needs.evaluation_minutes,
        gpu=needs.gpus,
    params:
        study=STUDY,
    shell:
        "naslora evaluate {params.study:q} --task {wildcards.task:q}"
        " --variant {wildcards.variant:q} --seed {wildcards.seed:q} > {log:q} 2>&1"


rule controls:
    input:
        readable(jobs.controls),
    output:
        [layout.record("{task}", control, 0) for control in CONTROLS],
    log:
        layout.log("controls", "{task}"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        study=STUDY,
    shell:
        "naslora controls {params.study:q} --task {wildcards.task:q} > {log:q} 2>&1"
