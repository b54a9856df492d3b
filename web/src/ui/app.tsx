import { useLayoutEffect } from "preact/hooks"
import { language, messages } from "../i18n/index.ts"
import { visible } from "../lib/text.ts"
import { about, isCluster, isDark, refusal, route, stale } from "../state.ts"
import { Banner } from "./banner.tsx"
import { DevicePage } from "./device.tsx"
import { Header } from "./header.tsx"
import { Idle } from "./idle.tsx"
import { Overview } from "./overview.tsx"
import { Sessions } from "./sessions.tsx"
import { Tooltip } from "./tooltip.tsx"
import { UserPage } from "./user.tsx"
import { Users } from "./users.tsx"

const views = { overview: Overview, sessions: Sessions, users: Users, idle: Idle, device: DevicePage, user: UserPage }

export function App() {
  const m = messages.value
  const { view } = route.value
  // Read here, so that a change draws this again.
  const mode = isDark.value ? "dark" : "light"
  const name = isCluster.value ? m.cluster : (about.value?.node ?? null)
  useLayoutEffect(() => {
    document.documentElement.lang = language.value
    document.documentElement.dataset["theme"] = mode
    document.title = name === null ? m.title : `${m.title} · ${visible(name)}`
  })
  const View = views[view]
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>{m.skip}</a>
      <Header />
      <Banner />
      <main id="main" tabIndex={-1} class={stale.value ? "stale" : ""}>
        {refusal.value !== null ? <div class="refusal" role="alert"><b>{m.refused}</b><p>{visible(refusal.value)}</p></div> : about.value ? <View key={view} /> : <p class="empty">{m.connecting}</p>}
      </main>
      <Tooltip />
    </>
  )
}

/** To the content, without the fragment, which says the view. */
function skip(event: Event): void {
  event.preventDefault()
  document.getElementById("main")?.focus()
}
