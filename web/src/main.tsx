import { render } from "preact"
import { get, Refused } from "./data/api.ts"
import { follow as followCluster } from "./data/cluster.ts"
import { follow as followNode } from "./data/node.ts"
import { backOff } from "./data/view.ts"
import { messages } from "./i18n/index.ts"
import { instant } from "./lib/clock.ts"
import { about, freshness, refusal, ticking } from "./state.ts"
import type { About } from "./types.ts"
import { App } from "./ui/app.tsx"

/** Learns for whom the page is, and begins to follow. */
async function begin(failures: number): Promise<void> {
  try {
    about.value = await get<About>("about")
    refusal.value = null
    freshness.value = { ...freshness.value, link: "connecting" }
    if (about.value.scope === "cluster") followCluster()
    else followNode()
  } catch (error) {
    if (error instanceof Refused) refusal.value = error.status === 404 ? messages.value.noAbout : error.message
    freshness.value = { ...freshness.value, link: "away" }
    setTimeout(() => void begin(failures + 1), backOff(failures + 1, Math.random()))
  }
}

const root = document.getElementById("page")
if (root) render(<App />, root)
setInterval(() => (ticking.value = instant()), 1000)
void begin(0)
