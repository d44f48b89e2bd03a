"""How the report looks, and the one thing that it does."""

CSS = """
:root{color-scheme:light dark}
body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{margin:0}.who{color:#777;margin:.2rem 0 1rem}
.score b{font-size:2.6rem}.bar{background:#8883;height:.5rem;max-width:24rem}
.bar i{display:block;height:100%;background:#2a7}
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left}
.n,th+th+th{text-align:right}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1rem}
article{border:1px solid #8885;border-left:4px solid #c33;padding:.7rem;overflow-wrap:anywhere}
article.right{border-left-color:#2a7}
.picture{position:relative;display:inline-block}.picture img{max-width:100%;display:block}
svg{position:absolute;inset:0;width:100%;height:100%}
rect{fill:none;stroke-width:3px;vector-effect:non-scaling-stroke}
.said{stroke:#e33}.truth{stroke:#2b5;stroke-dasharray:6 4}
.q{white-space:pre-wrap;margin:.5rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .8rem;margin:0}
dt{color:#777}dd{margin:0;white-space:pre-wrap}
footer{color:#777;font-size:.8rem;margin-top:.4rem}
button{font:inherit;margin-right:.4rem}
main.wrong article.right,main.right article.wrong{display:none}
"""

SCRIPT = """
for (const button of document.querySelectorAll("button"))
  button.onclick = () => document.querySelector("main").className = button.dataset.show;
"""
