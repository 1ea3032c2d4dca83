"""The schemas that every record of the audit log is held to."""

import json
from pathlib import Path

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

UNMAPPED = json.loads((Path(__file__).parents[2] / "docs" / "audit-record.schema.json").read_text())


def ocsf():
    """OCSF's own of the class, which allows nothing that it does not name."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.6.0"))
    return Draft202012Validator(schema.get_class_schema(class_name="api_activity", profiles=[]))


def unmapped():
    """Ours, of what OCSF does not name."""
    Draft202012Validator.check_schema(UNMAPPED)
    return Draft202012Validator(UNMAPPED)
