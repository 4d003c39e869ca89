# Two jobs for all figures: starting one takes longer than drawing most figures does.


rule figures:
    input:
        records(),
        analyses(),
        timings(),
    output:
        shown(figures("records", "analyses"), "figure"),
    log:
        layout.log("figures"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        selection=selection_fingerprint,
        names=figures_from("records", "analyses"),
        study=study_options,
    shell:
        "naslora figure {params.study} {params.names} > {log} 2>&1"


rule pictures:
    input:
        records(),
    output:
        shown(figures("weights"), "figure"),
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
        names=figures_from("weights"),
        study=study_options,
    shell:
        "naslora figure {params.study} {params.names} > {log} 2>&1"
