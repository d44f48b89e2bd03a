"""How the report looks, and what it does."""

CSS = """
:root{color-scheme:light dark;--ink:#1c2024;--soft:#667;--line:#dde1e6;--paper:#fff;--back:#f4f5f7;
--accent:#2457c5;--ok:#1a7f4b;--partial:#9a6700;--error:#c22;--mark:#fff2a8}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#98a2ad;--line:#30363d;--paper:#161a1f;
--back:#0d1014;--accent:#7aa5ff;--ok:#4cc38a;--partial:#e2b34a;--error:#ff7b72;--mark:#5c4b00}}
*{box-sizing:border-box}
body{margin:0;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back)}
a{color:var(--accent)}
:root{--bar:3.6rem}
header{position:sticky;top:0;z-index:2;background:var(--paper);border-bottom:1px solid var(--line);
padding:.7rem 1.2rem;display:flex;flex-wrap:wrap;gap:.5rem 1.2rem;align-items:center}
header h1{font-size:1.05rem;margin:0}header p{margin:0;color:var(--soft)}
header input{font:inherit;flex:1 1 14rem;min-width:10rem;padding:.35rem .7rem;color:inherit;
background:var(--back);border:1px solid var(--line);border-radius:.5rem}
.filters{display:flex;gap:.3rem}
button{font:inherit;color:inherit;background:none;border:1px solid var(--line);border-radius:.5rem;
padding:.3rem .7rem;cursor:pointer}
button[aria-pressed=true]{background:var(--accent);border-color:var(--accent);color:var(--paper)}
.frame{display:grid;grid-template-columns:17rem minmax(0,1fr);align-items:start}
nav{position:sticky;top:var(--bar);max-height:calc(100vh - var(--bar));overflow:auto;
padding:.8rem .4rem}
nav a{display:flex;gap:.5rem;align-items:baseline;padding:.25rem .6rem;border-radius:.4rem;
color:inherit;text-decoration:none;unicode-bidi:isolate}
nav a:hover{background:var(--line)}
nav span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
nav small{margin-left:auto;color:var(--soft)}
i.dot{flex:none;width:.6rem;height:.6rem;border-radius:50%;background:var(--ok)}
i.look{background:var(--partial)}i.error,i.failed{background:var(--error)}
i.partial{background:linear-gradient(90deg,var(--error) 50%,var(--ok) 50%)}
.legend{display:flex;flex-wrap:wrap;gap:.1rem .9rem;margin:0 .6rem .5rem;color:var(--soft);
font-size:.85rem}.legend span{display:flex;gap:.35rem;align-items:baseline}
main{padding:1rem 1.2rem 40vh;min-width:0}
section{margin:0 0 2rem}section,article{scroll-margin-top:calc(var(--bar) + 1rem)}
h2{font-size:1.15rem;margin:0;overflow-wrap:anywhere;unicode-bidi:isolate}
.about{color:var(--soft);margin:.1rem 0 .6rem;overflow-wrap:anywhere}
.bad{color:var(--error);margin:.2rem 0;overflow-wrap:anywhere;unicode-bidi:isolate}
.flag{display:inline-block;color:var(--partial);border:1px solid;border-radius:1rem;padding:0 .6rem;
font-size:.85rem;margin:0 .3rem .3rem 0}
article{display:grid;grid-template-columns:minmax(0,11fr) minmax(0,10fr);gap:1.2rem;padding:1rem;
margin:0 0 1rem;background:var(--paper);border:1px solid var(--line);border-radius:.7rem;
content-visibility:auto;contain-intrinsic-size:auto 40rem}
figure{margin:0;position:sticky;top:calc(var(--bar) + 1rem);align-self:start}
.sheet{position:relative;line-height:0;max-height:calc(100vh - 7rem);overflow:auto;
border:1px solid var(--line);border-radius:.3rem;background:#fff}
.sheet div{position:relative}.sheet img{width:100%;height:auto}
.sheet svg{position:absolute;inset:0;width:100%;height:100%;pointer-events:none}
.sheet rect{pointer-events:all}
figcaption{color:var(--soft);font-size:.85rem;margin-top:.3rem}
rect{fill:#0000;stroke-width:3px;vector-effect:non-scaling-stroke}
rect:hover,rect.lit{fill-opacity:.25;stroke-width:5px}
.c0{stroke:#e63946;fill:#e6394600}.c1{stroke:#0077e6;fill:#0077e600}.c2{stroke:#b88600;fill:#b8860000}
.c3{stroke:#009e60;fill:#009e6000}.c4{stroke:#a03cdc;fill:#a03cdc00}.c5{stroke:#008fa3;fill:#008fa300}
rect.lit.c0,rect.c0:hover{fill:#e63946}rect.lit.c1,rect.c1:hover{fill:#0077e6}
rect.lit.c2,rect.c2:hover{fill:#b88600}rect.lit.c3,rect.c3:hover{fill:#009e60}
rect.lit.c4,rect.c4:hover{fill:#a03cdc}rect.lit.c5,rect.c5:hover{fill:#008fa3}
svg.key{width:.9rem;height:.9rem;vertical-align:-.1rem;margin-right:.4rem}
h3{font-size:.8rem;font-weight:600;color:var(--soft);margin:1rem 0 .3rem;overflow-wrap:anywhere}
h3:first-child{margin-top:0}
table{border-collapse:collapse;max-width:100%}.wide{overflow-x:auto}
td,th{text-align:left;vertical-align:top;padding:.25rem .8rem .25rem 0;overflow-wrap:anywhere;
border-bottom:1px solid var(--line);unicode-bidi:isolate}
.fields th{font-weight:500;color:var(--soft);white-space:nowrap}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:.9rem/1.5 ui-monospace,monospace;margin:0;
max-height:34rem;overflow:auto;unicode-bidi:isolate}
ul{list-style:none;margin:0;padding:0}
li{padding:.1rem 0;overflow-wrap:anywhere;unicode-bidi:isolate}
li:hover{background:var(--back)}
.whole{background:var(--paper);border:1px solid var(--line);border-radius:.7rem;padding:.6rem 1rem;
margin:0 0 .6rem}
.none{color:var(--soft)}
blockquote{margin:0 0 .6rem;unicode-bidi:isolate}blockquote b{font-weight:500}
details{margin-top:.8rem}summary{cursor:pointer;color:var(--soft)}
[hidden]{display:none!important}
::highlight(found){background:var(--mark)}
@media(max-width:60rem){.frame{grid-template-columns:minmax(0,1fr)}nav{display:none}
article{grid-template-columns:minmax(0,1fr)}figure{position:static}header{position:static}
section,article{scroll-margin-top:1rem}}
@media print{header,nav{display:none}.frame,article{display:block}pre{max-height:none}}
"""

SCRIPT = """
const bar = document.querySelector("header");
new ResizeObserver(() =>
  document.documentElement.style.setProperty("--bar", `${bar.offsetHeight}px`)).observe(bar);
const search = document.querySelector("input"), count = document.querySelector("#count");
const sections = [...document.querySelectorAll("section")].map(section => ({
  section, link: document.querySelector(`nav a[href="#${section.id}"]`),
  name: section.dataset.name.toLowerCase(),
  pages: [...section.querySelectorAll("article")].map(page => ({page, text: null}))}));
let show = "all";
function shows(state) { return show === "all" || state.includes(show); }
function mark(wanted) {
  if (!window.Highlight) return;
  const ranges = [];
  if (wanted.length > 1) {
    const nodes = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    while (nodes.nextNode() && ranges.length < 2000) {
      const node = nodes.currentNode, text = node.data.toLowerCase();
      for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) {
        if (at + wanted.length > node.length) break;
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + wanted.length);
        ranges.push(range);
      }
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}
function filter() {
  const wanted = search.value.trim().toLowerCase();
  let left = 0, documents = 0;
  for (const {section, link, name, pages} of sections) {
    const named = name.includes(wanted);
    let some = false;
    for (const entry of pages) {
      entry.text ??= entry.page.textContent.toLowerCase();
      const found = (named || entry.text.includes(wanted)) && shows(entry.page.dataset.state);
      entry.page.hidden = !found;
      some ||= found;
      left += found;
    }
    if (!pages.length)
      some = shows(section.dataset.state) &&
        (named || section.textContent.toLowerCase().includes(wanted));
    section.hidden = !some;
    documents += some;
    if (link) link.hidden = !some;
  }
  const found = `found in documents: ${documents}, pages: ${left}`;
  count.textContent = wanted || show !== "all" ? found : "";
  mark(wanted);
}
let timer;
search.oninput = () => { clearTimeout(timer); timer = setTimeout(filter, 150); };
for (const button of document.querySelectorAll(".filters button"))
  button.onclick = () => {
    show = button.dataset.show;
    for (const other of document.querySelectorAll(".filters button"))
      other.setAttribute("aria-pressed", other === button);
    filter();
  };
document.addEventListener("mouseover", event => {
  for (const lit of document.querySelectorAll("rect.lit")) lit.classList.remove("lit");
  const item = event.target.closest && event.target.closest("[data-box]");
  if (item) document.getElementById(item.dataset.box)?.classList.add("lit");
});
"""
