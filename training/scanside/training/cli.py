"""`scanside train …`: the steps from a cohort to a classifier. Heavy packages load when a step runs."""

import typer

from scanside.runtime.cli.group import Group
from scanside.training.classifier.cli import classifier
from scanside.training.segmentation.cli import fusion, pretrain, segment
from scanside.training.signature.cli import signature

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    cls=Group,
    help="Train segmenters, the radiomics signature and the classifier of a cohort.",
)
app.command()(pretrain)
app.command()(segment)
app.command()(fusion)
app.command()(signature)
app.command()(classifier)
