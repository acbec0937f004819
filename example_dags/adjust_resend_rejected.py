"""Send a corrected rejected file to Adjust, after a person has approved its content.

Correct the rows first, and delete the lines that must not be sent: ``send_corrected`` sends everything in the file.
Then trigger this DAG with the file's name, relative to ``[adjust] files_folder`` in Airflow's configuration. Files
outside that folder are refused. It needs the connection ``adjust_default``.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

from airflow.sdk import ObjectStoragePath, Param, dag, task

from airflow_provider_adjust.files.folder import NAME_PATTERN, file_below
from airflow_provider_adjust.operators.adjust_send_events import AdjustSendEventsOperator

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except ImportError:
    # The standard provider is missing, or too old for human-in-the-loop operators. Nobody is asked then: the file is sent
    # as soon as its lines are counted.
    ApprovalOperator = None

# Only counts and reasons, because Airflow keeps this text in its database, where device ids do not belong.
WHAT_IS_IN_IT = """\
`{{ params.rejected_file }}`

| Outcome | Reason | Events |
|---|---|---|
{% for line in ti.xcom_pull("count_lines") -%}
| {{ line.outcome }} | {{ line.reason }} | {{ line.events }} |
{% endfor %}
Events `in_doubt` may have reached Adjust already, and would count twice.
"""


@dag(
    schedule=None,
    # Two runs at once could send a device's events out of order, or a file twice.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={
        "rejected_file": Param(
            "rejected/corrected.jsonl",
            type="string",
            pattern=NAME_PATTERN,
            title="Corrected rejected file",
            description="Its name below the configured folder, such as rejected/adjust_revenue_sync/20261118T000000.jsonl",
        )
    },
    # The worker checks the name again, and refuses links that lead outside the folder.
    user_defined_macros={"file_below": file_below},
    tags=["adjust", "recovery"],
)
def adjust_resend_rejected() -> None:
    @task(retries=0)
    def count_lines(path: str) -> list[dict[str, Any]]:
        """Count the lines by outcome and reason. A line of another kind fails the task before anything is sent."""
        counts: Counter[tuple[str, str]] = Counter()
        with ObjectStoragePath(path).open("rt", encoding="utf-8-sig", compression="infer") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    entry = json.loads(line)
                    counts[entry["outcome"], entry["reason"]] += 1
                except (ValueError, LookupError, TypeError):
                    raise ValueError(f"line {number} is not a line of a rejected file; correct or delete it") from None
        if not counts:
            raise ValueError("there is nothing in the file to send")
        return [
            {"outcome": outcome, "reason": reason, "events": count} for (outcome, reason), count in counts.most_common()
        ]

    count = count_lines("{{ file_below(params.rejected_file) }}")

    # Use the same arguments as the task that wrote the file. Each event keeps its id.
    send = AdjustSendEventsOperator(
        task_id="send_corrected",
        events="{{ file_below(params.rejected_file) }}",
        event_token="f0ob4r",
        id_field="order_id",
        # A run that is triggered by hand may have no date, so use its id.
        rejected_path="rejected/{{ dag.dag_id }}/{{ run_id }}.jsonl",
    )

    if ApprovalOperator is None:
        count >> send
    else:
        approve = ApprovalOperator(
            task_id="approve",
            subject="Send {{ ti.xcom_pull('count_lines') | sum(attribute='events') }} corrected events to Adjust?",
            body=WHAT_IS_IN_IT,
        )
        count >> approve >> send


adjust_resend_rejected()
