# Archives are found by the command, in the folder that the setting `archives` names, and not by
# Snakemake: so another folder with the same archives, or none at all once a task is prepared,
# reruns nothing, and a missing archive ends in the command's own message.


rule generate:
    output:
        directory(layout.archives / "{task}"),
    log:
        layout.log("generate", "{task}"),
    group:
        grouped("data")
    conda:
        "../../environment.yml"
    resources:
        lane=1,
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=data_fingerprint,
        study=study_options,
    shell:
        "naslora generate {params.study} --task {wildcards.task} > {log} 2>&1"


rule prepare:
    input:
        generated_archives,
    output:
        manifest=layout.manifest("{task}"),
        audit=layout.audit("{task}"),
        audit_text=layout.audit("{task}").with_suffix(".md"),
        images=directory(layout.prepared("{task}")),
    log:
        layout.log("prepare", "{task}"),
    group:
        grouped("data")
    conda:
        "../../environment.yml"
    resources:
        lane=1,
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        settings=data_fingerprint,
        study=study_options,
    shell:
        "naslora prepare {params.study} --task {wildcards.task} > {log} 2>&1"
