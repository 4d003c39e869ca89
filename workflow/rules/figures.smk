# Two jobs for all figures: starting a job takes longer than drawing most figures. A figure without
# content is written too, with the reason, because Snakemake expects every file.


rule figures:
    input:
        readable(jobs.figures),
    output:
        shown(jobs.figure_files(weights=False), "figure"),
    log:
        layout.log("figures"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        study=STUDY,
        names=figures_of(study, weights=False),
    shell:
        "naslora figure {params.study:q} {params.names:q} --allow-empty > {log:q} 2>&1"


rule pictures:
    input:
        readable(jobs.pictures),
    output:
        shown(jobs.figure_files(weights=True), "figure"),
    log:
        layout.log("pictures"),
    conda:
        "../../environment.yml"
    threads: study.training.threads
    resources:
        mem_mb=needs.memory,
        runtime=growing(120),
        gpu=needs.gpus,
    params:
        study=STUDY,
        names=figures_of(study, weights=True),
    shell:
        "naslora figure {params.study:q} {params.names:q} --allow-empty > {log:q} 2>&1"
