if study.sam.checkpoint == "official":

    rule fetch:
        output:
            official_checkpoint(),
        log:
            layout.log("fetch"),
        conda:
            "../../environment.yml"
        resources:
            mem_mb=growing(4000),
            runtime=growing(120),
        params:
            study=study_options,
        shell:
            "naslora fetch {params.study} > {log} 2>&1"


rule pretrain:
    output:
        layout.backbone(),
    log:
        layout.log("pretrain"),
    conda:
        "../../environment.yml"
    threads: study.pretraining.threads
    resources:
        mem_mb=MEMORY,
        runtime=growing(BACKBONE.training_minutes),
        gpu=min(GPUS, 1),
    params:
        settings=backbone_fingerprint,
        study=study_options,
    shell:
        "naslora pretrain {params.study} > {log} 2>&1"
