# Archives are found by the command, in the folder that the setting `archives` names, and not by
# Snakemake: so a missing archive ends in the command's own message.


rule prepare:
    input:
        readable(jobs.prepare),
    output:
        manifest=layout.manifest("{task}"),
        audit=layout.audit("{task}"),
        audit_text=layout.audit("{task}").with_suffix(".md"),
    log:
        layout.log("prepare", "{task}"),
    # Before all batches, which then start with the most images: the longest must not come last.
    priority: 1
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        study=STUDY,
    shell:
        "naslora prepare {params.study:q} --task {wildcards.task:q} > {log:q} 2>&1"
