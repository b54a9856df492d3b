// Builds the page: node build.mjs FOLDER. The same sources give the same bytes.

import { build } from "esbuild"
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises"
import { gzipSync } from "node:zlib"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const here = fileURLToPath(new URL(".", import.meta.url))
const TARGET = ["chrome111", "firefox128", "safari16.5"]

/** Names of the packages that are in the bundle, by its list of inputs. */
function bundled(inputs) {
  const names = Object.keys(inputs).map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1])
  return [...new Set(names.filter(Boolean))].sort()
}

/** The notices of the packages in the bundle; one without is an error. */
async function licences(names) {
  const parts = ["The page is built with these packages."]
  for (const name of names) {
    const folder = join(here, "node_modules", name)
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"))
    const file = (await readdir(folder)).find((file) => /^licen[sc]e/i.test(file))
    if (!file) throw new Error(`${name} has no licence file`)
    parts.push(`${"-".repeat(80)}\n${name} ${version}: ${license}\n\n${(await readFile(join(folder, file), "utf8")).trim()}`)
  }
  return parts.join("\n\n").replaceAll("\r\n", "\n") + "\n"
}

/** Builds into the folder; returns the names of the files. */
export async function buildPage(folder, { minify = true } = {}) {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const { metafile } = await build({
    absWorkingDir: here,
    entryPoints: [{ in: "src/main.tsx", out: "app" }, { in: "src/app.css", out: "app" }],
    outdir: folder, bundle: true, minify, format: "esm", target: TARGET, charset: "utf8", metafile: true,
    jsx: "automatic", jsxImportSource: "preact", legalComments: "none", logLevel: "warning",
    banner: { js: "/* Licences of what is in here: page/licenses.txt of the sources, and the notices of the program. */" },
  })
  await writeFile(join(folder, "licenses.txt"), await licences(bundled(metafile.inputs)))
  for (const name of ["index.html", "favicon.svg"]) await copyFile(join(here, "src", name), join(folder, name))
  return ["index.html", "app.js", "app.css", "favicon.svg"]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[2]
  if (!folder) throw new Error("usage: node build.mjs FOLDER")
  let total = 0
  for (const name of await buildPage(folder)) {
    const bytes = await readFile(join(folder, name))
    const packed = gzipSync(bytes, { level: 9 }).length
    total += packed
    console.log(`${name.padEnd(12)} ${(bytes.length / 1024).toFixed(1).padStart(7)} KiB, ${(packed / 1024).toFixed(1).padStart(5)} KiB gzip`)
  }
  console.log(`in all ${(total / 1024).toFixed(1)} KiB gzip`)
}
