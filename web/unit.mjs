// Runs the tests of what needs no browser: node unit.mjs

import { build } from "esbuild"
import { spawnSync } from "node:child_process"
import { readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const here = fileURLToPath(new URL(".", import.meta.url))
const folder = join(here, "build", "unit")
await rm(folder, { recursive: true, force: true })
const names = (await readdir(join(here, "tests/unit"))).filter((name) => name.endsWith(".test.ts"))
await build({ absWorkingDir: here, entryPoints: names.map((name) => `tests/unit/${name}`), outdir: folder, bundle: true, platform: "node", format: "esm", outExtension: { ".js": ".mjs" }, logLevel: "warning" })
const files = names.map((name) => join(folder, name.replace(/ts$/, "mjs")))
const run = spawnSync(process.execPath, ["--test", "--test-reporter=tap", ...files], { stdio: "inherit" })
process.exit(run.status ?? 1)
