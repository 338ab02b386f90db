// Builds the committed front end: access.js, curves.js, parallel.js, tree.js and their CSS in workbench/ui/static/, stamped with the hash of their sources.

import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "workbench", "ui", "static");

/** SHA-256 over path, NUL, text with \n line ends, NUL of each source in sorted order; tests/ui/test_static.py computes the same. */
function hashOfSources() {
  const sources = readdirSync(join(here, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(here.length + 1).replaceAll("\\", "/"));
  const hash = createHash("sha256");
  for (const path of [...sources, "build.mjs", "package-lock.json", "package.json"].sort()) {
    hash.update(`${path}\0${readFileSync(join(here, path), "utf8").replaceAll("\r\n", "\n")}\0`);
  }
  return hash.digest("hex");
}

const banner = `/* Built from frontend/ by "npm run build"; do not edit. sources sha256:${hashOfSources()}; curves contain uPlot (uPlot-LICENSE.txt) */`;
mkdirSync(out, { recursive: true });
await build({
  entryPoints: Object.fromEntries(Object.entries({ access: "access", curves: "index", parallel: "parallel", tree: "tree" }).map(([name, file]) => [name, join(here, "src", `${file}.ts`)])),
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  banner: { js: banner, css: banner },
});
copyFileSync(join(here, "node_modules", "uplot", "LICENSE"), join(out, "uPlot-LICENSE.txt"));
