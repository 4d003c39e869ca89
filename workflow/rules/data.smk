# The command, not Snakemake, finds the archives in the folder of the setting `archives`, so that a
# missing archive leads to the command's own message.


rule prepare:
    input:
        readable(jobs.prepare),
    output:
        manifest=layout.manifest("{task}"),
        audit=layout.audit("{task}"),
        audit_text=layout.audit("{task}").with_suffix(".md"),
    log:
        layout.log("prepare", "{task}"),
    # Before all batches, which can then start with the most images: the longest must not be last.
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
