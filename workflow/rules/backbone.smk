if study.sam.checkpoint == "official":

    rule fetch:
        output:
            readable(jobs.official_checkpoint)(),
        log:
            layout.log("fetch"),
        conda:
            "../../environment.yml"
        resources:
            mem_mb=growing(4000),
            runtime=growing(120),
        params:
            study=STUDY,
        shell:
            "naslora fetch {params.study:q} > {log:q} 2>&1"


rule pretrain:
    input:
        readable(jobs.pretrain),
    output:
        layout.backbone(),
    log:
        layout.log("pretrain"),
    conda:
        "../../environment.yml"
    threads: study.pretraining.threads
    resources:
        mem_mb=needs.memory,
        runtime=needs.training_minutes,
        gpu=needs.gpus,
    params:
        study=STUDY,
    shell:
        "naslora pretrain {params.study:q} > {log:q} 2>&1"
