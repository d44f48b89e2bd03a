"""The chat layout as a Jinja template, for tools that want one.

`vl2` itself lays conversations out in `vl2.processing.template`; this writes the same string. It is
saved with the processor, so that other servers and trainers find the right layout.
"""

CHAT_TEMPLATE = r"""
{{- bos_token -}}
{%- for message in messages -%}
  {%- set said = namespace(text='') -%}
  {%- if message['content'] is string -%}
    {%- set said.text = message['content'] -%}
  {%- else -%}
    {%- for part in message['content'] or [] -%}
      {%- if part['type'] == 'text' -%}
        {%- set said.text = said.text + part['text'] -%}
      {%- elif part['type'] in ['image', 'image_url'] -%}
        {%- set said.text = said.text + '<image>\n' -%}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {%- set text = said.text | trim -%}
  {%- if message['role'] in ['user', '<|User|>'] -%}
    {{- '<|User|>: ' + text + '\n\n' if text else '<|User|>:' -}}
    {%- if add_generation_prompt or not loop.last -%}
      {{- '<|Assistant|>:' -}}
    {%- endif -%}
  {%- elif message['role'] in ['assistant', '<|Assistant|>'] -%}
    {%- generation -%}{{- text + eos_token -}}{%- endgeneration -%}
  {%- elif message['role'] == 'system' and loop.first -%}
    {{- text -}}
  {%- else -%}
    {{- raise_exception('Roles are user and assistant, and system for the first message.') -}}
  {%- endif -%}
{%- endfor -%}
""".strip()
