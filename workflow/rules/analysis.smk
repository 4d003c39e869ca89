rule analyse:
    input:
        run=analysed_run,
        manifest=ancient(layout.manifest("{task}")),
        images=images,
        weights=starting_weights,
    output:
        layout.analysis("{task}", "{model}", "{seed}"),
    log:
        layout.log("analyse", "{task}", "{model}", "seed{seed}"),
    wildcard_constraints:
        model="|".join([RANDOM, PRETRAINED, *study.run_names()]),
    group:
        grouped("analyses")
    conda:
        "../../environment.yml"
    threads: study.training.threads
    resources:
        lane=1,
        mem_mb=MEMORY,
        runtime=growing(240),
        gpu=min(GPUS, 1),
    params:
        settings=analysed_settings,
        data=data_fingerprint,
        study=study_options,
    shell:
        "naslora analyse {params.study} --task {wildcards.task} --model {wildcards.model}"
        " --seed {wildcards.seed} > {log} 2>&1"
