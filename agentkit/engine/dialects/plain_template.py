"""The Jinja chat template of `plain/1`: for programs that drive sprout's GGUF without agentkit.

Guarantees: for messages and tools in the OpenAI form it renders the very text that `plain` renders as pieces. What that form
has no word for stands in three keys of a message, which other templates pass over: `kind` of an answer, `ask` or `decline`;
`status` of a result, `error`, with or without `Error: ` before its text; `trust` of a result, `trusted`.
Does not keep data apart from control tokens: a template is one text. agentkit itself never uses it.
"""

from __future__ import annotations

__all__ = ["TEMPLATE"]

TEMPLATE = r"""
{%- set ns = namespace(names=[], result=0) -%}
{%- set words = {'integer': 'integer', 'number': 'number', 'boolean': 'boolean', 'array': 'list', 'object': 'object'} -%}
<bos>
{%- if messages and messages[0].role == 'system' -%}
<system>{{ messages[0].content }}<end>
{%- endif -%}
{%- if tools -%}
<tools>
{%- for tool in tools -%}
{%- set it = tool.function if tool.function is defined else tool -%}
{%- set ns.names = ns.names + [it.name] -%}
<t{{ loop.index0 }}>{{ it.name }}(
{%- for name, about in it.parameters.properties.items() -%}
{{ name }}{{ '' if name in (it.parameters.required or []) else '?' }}
{%- if about.enum is defined %}: {{ about.enum | join('|') }}
{%- elif about.type in words %}: {{ words[about.type] }}
{%- endif -%}
{{ '' if loop.last else ', ' }}
{%- endfor -%}
)
{%- set short = (it.description.split() | join(' ')).split('. ')[0].rstrip('.').lower().split(' ')[:16] | join(' ') -%}
{{ ' ' + short if short else '' }}
{%- endfor -%}
<end>
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
<user>{{ message.content }}<end>
{%- elif message.role == 'assistant' -%}
<assistant>
{%- if message.tool_calls -%}
{%- for call in message.tool_calls -%}
{%- set it = call.function if call.function is defined else call -%}
<call><t{{ ns.names.index(it.name) }}>{{ it.arguments if it.arguments is string else it.arguments | tojson }}
{%- endfor -%}
{%- else -%}
{{ '<' ~ (message.kind if message.kind in ['ask', 'decline'] else 'final') ~ '>' }}{{ message.content }}
{%- endif -%}
<end>
{%- elif message.role == 'tool' -%}
{%- set ns.result = ns.result + 1 -%}
{{ '<error>' if message.status == 'error' else '<result>' if message.trust == 'trusted' else '<untrusted>' }}
{{- '<r' ~ ((ns.result - 1) % 16 + 1) ~ '>' }}
{{- message.content[7:] if message.status == 'error' and message.content.startswith('Error: ') else message.content }}<end>
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<assistant>
{%- endif -%}
""".strip()
