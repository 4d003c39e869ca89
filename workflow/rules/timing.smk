# Table 5, and the claims, which speak of its numbers too. They have jobs of their own, so that no
# other table waits for a machine to be timed, or goes missing when one cannot be.


rule timing:
    output:
        TIMED_HERE,
    log:
        layout.log("timing"),
    priority: 1
    conda:
        "../../environment.yml"
    threads: whole_machine
    resources:
        mem_mb=MEMORY,
        runtime=growing(BACKBONE.evaluation_minutes),
        gpu=min(GPUS, 1),
        slurm_extra=alone,
    params:
        settings=timing_settings,
        study=study_options,
    shell:
        "naslora time {params.study} --output {output} > {log} 2>&1"


rule timing_tables:
    input:
        records(),
        analyses(),
        timings(),
    output:
        shown(timing_tables(), "table"),
    log:
        layout.log("timing_tables"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        selection=selection_fingerprint,
        schedule=timing_selection,
        names=timing_table_names(),
        study=study_options,
    shell:
        "naslora table {params.study} {params.names} > {log} 2>&1"
