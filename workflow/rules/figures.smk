rule figure:
    input:
        records(),
    output:
        layout.figure("{figure}"),
    log:
        layout.log("figure", "{figure}"),
    wildcard_constraints:
        figure="|".join(FIGURES),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=MEMORY,
        runtime=growing(30),
    params:
        selection=selection_fingerprint,
        study=study_options,
    shell:
        "naslora figure {params.study} {wildcards.figure} > {log} 2>&1"
