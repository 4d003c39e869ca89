from snakemake.utils import min_version

min_version("9.13")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/backbone.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"


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
    check_scheduler(workflow)
    share_imports(workflow)


onsuccess:
    announce_results()


rule all_tables:
    default_target: True
    input:
        records(),  # so that a deleted one is made again; tables alone would do without it
        tables(),
        drawable_figures(),


rule all_data:
    input:
        manifests(),


rule all_runs:
    input:
        records(),


rule all_figures:
    input:
        figures(),
