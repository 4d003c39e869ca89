from snakemake.utils import min_version

min_version("9.13")


report: "workflow/report/study.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/params.smk"
include: "workflow/rules/files.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/hooks.smk"
include: "workflow/rules/cluster.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/backbone.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/timing.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


localrules:
    all_data,
    all_runs,
    all_tables,
    all_figures,


wildcard_constraints:
    task="|".join(study.tasks),
    variant="|".join(study.run_names()),
    seed=r"\d+",


onstart:
    name_jobs(workflow)
    begin(workflow)
    history.forget()


onsuccess:
    clearly(history.keep)
    announce_results()


onerror:
    clearly(history.keep)
    write_partial_tables()


rule all_tables:
    default_target: True
    input:
        # So that a deleted one is made again; tables alone would do without it.
        records(),
        timings(),
        tables(),
        layout.metrics,
        timing_tables(),
        drawable_figures(),
        layout.report,


rule all_data:
    input:
        manifests(),


rule all_runs:
    input:
        records(),
        analyses(),
        timings(),


rule all_figures:
    input:
        figures(),
