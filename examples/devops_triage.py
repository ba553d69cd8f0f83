"""The triage step of a devops bot, as a function inside somebody else's process.

An alert comes in, a verdict and an exit status go out. The alert's words are a stranger's and marked so; the
tools only read; the run is short of turns and time; the verdict is data of a fixed schema, or there is none.

    python examples/devops_triage.py < alert.json        (without a file: a sample alert)

It wants a bigger model than the embedded one: AGENTKIT_MODEL=hf:owner/repo, or a server's URL.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from agentkit import Agent, Effect, RunResult, Task, tool
from agentkit.config import load
from agentkit.types import Provenance, TextPart, Trust

VERDICT = {
    "type": "object",
    "properties": {
        "severity": {"enum": ["page", "ticket", "ignore"]},
        "service": {"type": "string"},
        "reason": {"type": "string"},
    },
    "required": ["severity", "service", "reason"],
    "additionalProperties": False,
}
SAMPLE = {"alertname": "HighErrorRate", "service": "checkout", "summary": "5xx above 2% for 10 minutes"}

# What the bot's own monitoring would answer.
STATUS = {"checkout": "degraded: 3.1% errors, 2 of 4 pods ready", "search": "healthy"}
LOGS = {"checkout": ["12:01 connection pool exhausted", "12:02 connection pool exhausted"]}


@tool(effect=Effect.READ, egress=False)
def service_status(service: str) -> str:
    """Get the current status of a service.

    Args:
        service: the service's name.
    """
    return STATUS.get(service, "unknown service")


@tool(effect=Effect.READ, egress=False)
def recent_errors(service: str, limit: int = 5) -> str:
    """Get the latest error lines of a service's log.

    Args:
        service: the service's name.
        limit: how many lines at most.
    """
    return "\n".join(LOGS.get(service, [])[-limit:]) or "none"


def triage(alert: Mapping[str, Any]) -> RunResult:
    """Return the run; its `data` is the verdict if it ended well, and `exit_code` says how it ended."""
    task = Task(
        parts=(
            TextPart(text="Triage this alert: check the service, then say page, ticket or ignore, and why."),
            TextPart(text=json.dumps(alert), provenance=Provenance(source="alertmanager", trust=Trust.UNTRUSTED)),
        ),
        output_schema=VERDICT,
    )
    settings = load(flags={"run.max_turns": 6, "run.timeout_s": 120, "policy.on_approval": "deny"}).settings
    with Agent(tools=[service_status, recent_errors], settings=settings) as agent:
        return agent.run(task)


def main() -> int:
    text = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    result = triage(json.loads(text) if text.strip() else SAMPLE)
    print(json.dumps({"verdict": result.data, "stop_reason": result.stop_reason, "steps": len(result.steps)}))
    return result.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
