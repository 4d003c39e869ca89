rule analyse:
    input:
        readable(jobs.analyse),
    output:
        layout.analysis("{task}", "{model}", "{seed}"),
    log:
        layout.log("analyse", "{task}", "{model}", "seed{seed}"),
    wildcard_constraints:
        model="|".join([RANDOM, PRETRAINED, *study.run_names()]),
    conda:
        "../../environment.yml"
    threads: study.training.threads
    resources:
        mem_mb=needs.memory,
        runtime=growing(240),
        gpu=needs.gpus,
    params:
        study=STUDY,
    shell:
        "naslora analyse {params.study:q} --task {wildcards.task:q}"
        " --model {wildcards.model:q} --seed {wildcards.seed:q} > {log:q} 2>&1"
