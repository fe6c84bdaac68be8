"""Chats as `transformers` renders them.

    python chat.py FILE

The templates are ours; each uses what templates of published models use.
"""

import json
import sys

import jinja2
import transformers
from transformers.utils import chat_template_utils

TEMPLATES = {
    "chatml": """{% for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{% endfor %}
{% if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{% endif %}
""",
    "whitespace": """{{ bos_token }}
{% for message in messages %}
  {% if message.role == 'system' %}
    [system] {{ message.content }}
  {% else %}
  <{{ message.role }}>{{ message.content | trim }}</{{ message.role }}>
  {% endif %}
{% endfor %}
end{{ eos_token }}""",
    "strings": """{%- for m in messages -%}
{{ m.content.strip() }}|{{ m.content.lstrip('Hh') }}|{{ m.content.split()[0] }}|{{ m.content.split(' ', 1)[-1] }}|
{{- m.content.startswith('Hello') }}|{{ m.content.endswith('?') }}|{{ m.content.upper() }}|{{ m.content.lower() }}|
{{- m.content.replace('o', '0') }}|{{ m.content[1:4] }}|{{ m.content[::-1] }}|{{ m.content|length }}
{%- endfor %}""",
    "maps": """{% for key, value in extra.items() %}{{ key }}={{ value }};{% endfor %}
{{ extra.keys() | list }}{{ extra.values() | list }}{{ extra.get('absent', 'none') }}{{ extra.get('b') }}
{{ extra | tojson }}
{{ extra | tojson(indent=2) }}
{{ "<&>'" | tojson }}""",
    "control": """{% set ns = namespace(found=false, n=0) %}
{% for m in messages %}
{% if m.role == 'system' %}{% continue %}{% endif %}
{% set ns.n = ns.n + 1 %}
{% if (loop.index0 % 2 == 0) != (m.role == 'system') %}{% set ns.found = true %}{% endif %}
{{ loop.index }}/{{ loop.length }} {{ loop.first }} {{ loop.last }} {{ m.role }}
{% if ns.n == 2 %}{% break %}{% endif %}
{% endfor %}
{{ ns.found }} {{ ns.n }} {{ messages[-1]['content'] }} {{ messages[1:] | length }} {{ undefined_thing is defined }}
{%- macro shout(text, mark='!') %}{{ text | upper }}{{ mark }}{% endmacro %}
{{ shout('ho') }} {{ shout('who', mark='?') }} {{ 'a' if false else 'b' }} {{ [1, 2, 3] | join('-') }} {{ none is none }}""",
    "system_first": """{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] | trim %}{% set rest = messages[1:] %}
{% else %}{% set system = 'You help.' %}{% set rest = messages %}{% endif %}
{{ bos_token + '[INST] <<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' }}
{%- for m in rest %}{{ m['content'].strip() + (' [/INST] ' if m['role'] == 'user' else eos_token) }}{% endfor %}""",
}
MESSAGES = {
    "one": [{"role": "user", "content": "  Hello, who are you?"}],
    "four": [{"role": "system", "content": "Be brief. "}, {"role": "user", "content": "Hello there"},
             {"role": "assistant", "content": "Hi! How can I help?\n"}, {"role": "user", "content": "Héllo ☃ <b>'x'</b>"}],
}
EXTRA = {"b": "two <words>", "a": 1, "list": [1, "é", None, True, 2.5], "map": {"k": []}}

cases = []
for name, template in TEMPLATES.items():
    for messages in MESSAGES.values():
        for prompt in [False, True]:
            compiled = chat_template_utils._compile_jinja_template(template)
            text = compiled.render(messages=messages, add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>",
                                   extra=EXTRA)
            cases.append(dict(name=name, template=template, messages=messages, add_generation_prompt=prompt,
                              variables=dict(extra=EXTRA), text=text))
versions = dict(transformers=transformers.__version__, jinja2=jinja2.__version__)
json.dump(dict(made_by=versions, bos="<s>", eos="</s>", cases=cases), open(sys.argv[1], "w"), indent=1, ensure_ascii=False)
