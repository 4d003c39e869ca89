# Two jobs for all figures: starting one takes longer than drawing most figures does. A picture
# without content is written too, and says why: Snakemake waits for every file.


rule figures:
    input:
        records(),
        analyses(),
        timings(),
    output:
        shown(figures(weights=False), "figure"),
    log:
        layout.log("figures"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        selection=selection_fingerprint,
        names=figures_of(study, weights=False),
        study=study_options,
    shell:
        "naslora figure {params.study} {params.names} --allow-empty > {log} 2>&1"


rule pictures:
    input:
        records(),
    output:
        shown(figures(weights=True), "figure"),
    log:
        layout.log("pictures"),
    conda:
        "../../environment.yml"
    threads: study.training.threads
    resources:
        mem_mb=MEMORY,
        runtime=growing(120),
        gpu=min(GPUS, 1),
    params:
        selection=selection_fingerprint,
        names=figures_of(study, weights=True),
        study=study_options,
    shell:
        "naslora figure {params.study} {params.names} --allow-empty > {log} 2>&1"
