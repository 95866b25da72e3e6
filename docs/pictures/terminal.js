// Draws what `make demo` printed (standard input) as a terminal, in SVG. Left out:
// the lab's own lines, progress that a terminal scrolls away, and the tables that
// the job summary has, too.
const columns = 112, line = 18, advance = 7.8, margin = 20, bar = 34;
const colours = { "✓": "#3fb950", "⚠": "#d29922", "✗": "#f85149" };
const tables = /^(Steps|Workloads|Pods|GitHub secrets|Warnings)$/;

const printed = require("fs").readFileSync(0, "utf8").trimEnd().split("\n");
const first = printed.indexOf("before the rotation:");
const last = printed.findIndex((text) => text.startsWith("  image, compressed"));
if (first < 0 || last < 0) throw new Error("this is not what `make demo` prints");

const shown = ["$ make demo", ""];
let table = false;
for (const text of printed.slice(first, last + 1)) {
  if (tables.test(text)) table = true;
  else if (text === "after the rotation:") table = false;
  if (table || text.startsWith("  restart:") || (text === "" && shown.at(-1) === "")) continue;
  shown.push(...wrap(text));
}

// wrap breaks a long line at blanks, and indents what follows.
function wrap(text) {
  const indent = " ".repeat(text.search(/\S|$/) + 4);
  const lines = [];
  while (text.length > columns) {
    const end = text.lastIndexOf(" ", columns);
    if (end <= indent.length) break;
    lines.push(text.slice(0, end));
    text = indent + text.slice(end + 1);
  }
  return [...lines, text];
}

const escape = (text) => text.replace(/[&<> ]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", " ": "\u00a0" })[c]); // SVG joins blanks

function draw(text, i) {
  if (text === "") return "";
  const colour = colours[text.trimStart()[0]] ?? (/^(\$|\S.*:$|[A-Z ]+$|figures)/.test(text) ? "#e6edf3" : "#9da7b3");
  const weight = text === text.toUpperCase() && /[A-Z]/.test(text) ? ' font-weight="bold"' : "";
  const width = ([...text].length * advance).toFixed(1); // whatever font there is
  return `<text x="${margin}" y="${bar + line * (i + 1)}" fill="${colour}"${weight} textLength="${width}">${escape(text)}</text>\n`;
}

const width = Math.ceil(columns * advance + 2 * margin), height = bar + line * (shown.length + 1);
process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="make demo in a terminal">
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<circle cx="20" cy="17" r="6" fill="#ff5f57"/><circle cx="40" cy="17" r="6" fill="#febc2e"/><circle cx="60" cy="17" r="6" fill="#28c840"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="13">
${shown.map(draw).join("")}</g>
</svg>
`);
