"""`spfast info`: what a survey, a model or a table is, how it was made, and whether it is whole."""

import json
import sys
from pathlib import Path

from spfast.cli.as_json import table_as_json
from spfast.cli.fit import model_facts
from spfast.cli.ingest import survey_facts
from spfast.cli.outputs import one_line, result
from spfast.config import CONSTANT, FITTED
from spfast.errors import BadInputError

__all__ = ["COMMON", "EXAMPLES", "HELP", "describe", "facts", "open_product", "options", "run"]

HELP = "Say what a survey, a model or a table is, how it was made, and whether it is whole."
COMMON = ("json",)
EXAMPLES = ("spfast info survey/ --verify", "spfast info model.npz", "spfast info catalog.fits --json")

_WHOLE = "yes, every byte as it was written"


def options(parser):
    parser.add_argument(
        "path", metavar="SURVEY|MODEL|TABLE", help="survey folder, model file, or table that spfast wrote"
    )
    parser.add_argument(
        "--verify", action="store_true", help="read every byte and compare the hashes with the stored ones"
    )


def run(args):
    product = open_product(args.path, args.verify)
    lines = describe(product, args.verify)
    result(args, "\n".join(f"{one_line(what):14s}{v if v.isprintable() else one_line(v)}" for what, v in lines))
    return facts(product) | {"path": args.path, "verified": args.verify}


def open_product(path, verify: bool = False):
    """Open a survey folder, a model file or a table that spfast wrote.

    Parameters
    ----------
    path : path-like
    verify : bool
        Read every byte and compare with the stored hashes (a model's are compared in any case).

    Returns
    -------
    Survey, FittedModel or astropy Table

    Raises
    ------
    BadInputError
        If it is none of the three, or not whole.
    """
    from spfast.data.survey import open_survey, verify_survey
    from spfast.data.tables.read import is_table, read_table
    from spfast.data.tables.write import verify_table
    from spfast.model.fitted_model import load_model

    path = Path(path)
    if path.is_dir():
        if verify:
            verify_survey(path, quiet=not sys.stderr.isatty())
        return open_survey(path)
    if not path.exists():
        raise BadInputError(f"{path}: no such file or folder; expected a survey, a model or a table")
    if is_table(path):
        if verify:
            verify_table(path)
        return read_table(path)
    return load_model(path)


def describe(product, verified: bool = False) -> list[tuple[str, str]]:
    """Describe what `open_product` returned: what and its value, for printing (list of (str, str))."""
    from spfast.data.survey import Survey
    from spfast.model.fitted_model import FittedModel

    if isinstance(product, Survey):
        return _describe_survey(product, verified)
    return _describe_model(product) if isinstance(product, FittedModel) else _describe_table(product, verified)


def facts(product) -> dict:
    """What `open_product` returned in numbers and names, for JSON (dict)."""
    from spfast.data.survey import Survey
    from spfast.model.fitted_model import FittedModel

    if isinstance(product, Survey):
        return {"what": "survey"} | survey_facts(product) | {"config": product.info.get("config")}
    if isinstance(product, FittedModel):
        origin = product.provenance
        about = {"hash": product.file_hash, "licence": product.licence, "survey_hash": origin.survey_hash}
        return {"what": "model"} | about | model_facts(product) | {"versions": origin.versions, "config": origin.config}
    header = {k: _stored(v) if k in ("CONFIG", "SURVCONF") else v for k, v in product.meta.items()}
    columns = table_as_json(product[:0])["columns"]
    return {"what": "table", "product": header.get("PRODUCT"), "rows": len(product)} | {
        "header": header,
        "columns": columns,
    }


def _describe_survey(survey, verify):
    info, layout = survey.info, survey.layout
    training = int(survey.stars["training_set"].sum())
    what = "pixels" if layout.is_spectrum else "other columns"
    features = f"a constant, {len(layout.magnitudes)} magnitudes, {layout.n_pixels:,} {what}"
    groups = ", ".join(f"{name}: {int(inside.sum()):,}" for name, inside in layout.groups.items())
    lines = [
        ("what", "a survey"),
        ("stars", f"{survey.n_stars:,}, of which {training:,} in the training set; {info['n_rejected']:,} rejected"),
        ("features", f"{survey.n_features:,}: {features}"),
        ("groups", groups),
        ("low rank", "none" if survey.low_rank is None else f"{survey.low_rank[0].rank} coordinates of the spectra"),
        ("parallaxes", _release(survey)),
        ("hash", survey.survey_hash),
        ("whole", _WHOLE if verify else "yes, to judge by its shapes; --verify reads every byte"),
    ]
    lines += [("cut", f"{n_left:8,d}  {cut}") for cut, n_left in info["cut_flow"]]
    return [*lines, ("versions", _pairs(info["versions"])), *_config_lines(info.get("config"))]


def _release(survey):
    from spfast.data.gaia_release import survey_release

    found = survey_release(survey)
    return f"of {found.title}: {found.reason}"


def _describe_model(model):
    result, origin = model.result, model.provenance
    lines = [
        ("what", "a model"),
        ("hash", model.file_hash),
        ("whole", _WHOLE),
        ("licence", model.licence or "none given: ask whoever made it"),
        ("new stars", _new_stars(model.recipe)),
        ("trained on", f"{model.n_stars:,} stars"),
        ("coefficients", f"{model.n_features:,}; {model.n_nonzero:,} penalised ones are not zero"),
        *([] if model.layout is None else [("uses", model.columns_used)]),
        ("penalty", model.penalty_text),
        ("zero point", _zero_point(model)),
        ("objective", f"{result.objective:.10g}"),
        ("KKT violation", f"{result.kkt_violation:.3g}"),
        ("converged", "yes" if result.converged else f"no: {result.message}"),
        ("passes", str(result.n_passes)),
        *([] if model.budget is None else [("errors", f"measured on {model.budget.n_held_out:,} stars held out")]),
    ]
    names = {"fold": "fold", "fold_rule": "folds", "survey_hash": "survey", "spfast_version": "version"}
    names |= {"command": "made by"}
    lines += [(label, str(getattr(origin, name))) for name, label in names.items() if getattr(origin, name) is not None]
    lines += [("input", f"{role} {digest}") for role, digest in (origin.inputs or {}).items()]
    lines += [("versions", _pairs(origin.versions))] if origin.versions else []
    lines += _config_lines(origin.config)
    return lines + _config_lines(origin.survey_config, "survey config")


def _new_stars(recipe):
    """What files of new stars a model can predict."""
    if recipe is None:
        return "only from a survey: the file does not say how features are made from spectra"
    spectra = " and ".join(recipe.origin.get("spectra") or ["spectra of a release that it does not know"])
    release = recipe.origin.get("gaia_release")
    return f"from their files, {spectra}" + (f", Gaia {release}" if release else "")


def _zero_point(model):
    rule, why = model.zero_point_rule, model.provenance.zero_point_reason
    why = "" if why is None else f" ({why})"
    if rule == CONSTANT:
        return f"{model.zero_point:g} mas added to Gaia parallaxes{why}"
    fitted = f" {model.tuned.summary}" if rule == FITTED else ""
    return f"star by star: {rule}{fitted}{why}"


def _describe_table(table, verified):
    product = str(table.meta.get("PRODUCT", "a table that does not say what made it"))
    lines = [("what", product), ("rows", f"{len(table):,}")]
    if verified:
        lines.append(("whole", _WHOLE))
    for key, value in table.meta.items():
        if key in ("CONFIG", "SURVCONF") and product.startswith("spfast"):
            lines += _config_lines(_stored(value), key)
        elif key != "PRODUCT":
            lines.append((key, str(value)))
    return lines + [("column", f"{c.name} [{c.unit or '-'}] {c.description or ''}") for c in table.itercols()]


def _stored(text):
    """A configuration from a header (dict); as it stands if it is damaged, for info must show what is there."""
    try:
        config = json.loads(text)
    except (ValueError, TypeError):
        config = None
    return config if isinstance(config, dict) else {"damaged": text}


def _config_lines(config, label="config"):
    """One line for each section of a stored configuration."""
    if not isinstance(config or {}, dict):
        return [(label, str(config))]
    return [
        (label, f"[{name}] {_pairs(values)}" if isinstance(values, dict) else f"{name} = {values}")
        for name, values in (config or {}).items()
    ]


def _pairs(values):
    return ", ".join(f"{key} = {value}" for key, value in values.items())
