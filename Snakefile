from snakemake.utils import min_version

min_version("9.13")


report: "workflow/report/study.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/cluster.smk"
include: "workflow/rules/hooks.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/backbone.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/batch.smk"
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
    begin(workflow)


onsuccess:
    show_results()


onerror:
    write_partial_tables()


rule all_tables:
    default_target: True
    input:
        readable(jobs.all_tables),


rule all_data:
    input:
        readable(jobs.all_data),


rule all_runs:
    input:
        readable(jobs.all_runs),


rule all_figures:
    input:
        readable(jobs.all_figures),
