import { messages } from "../i18n/index.ts"
import type { Parameter } from "../lib/route.ts"
import { visible } from "../lib/text.ts"
import { change, route } from "../state.ts"

/** What the list is narrowed to, each to be taken away. */
export function Filters() {
  const m = messages.value
  const names: [Parameter, string][] = [["node", m.node], ["gpu", "GPU"], ["user", m.user], ["namespace", m.namespace], ["pod", m.pod]]
  const set = names.filter(([parameter]) => route.value.params[parameter] !== undefined)
  if (set.length === 0) return null
  return (
    <div class="filters">
      {set.map(([parameter, name]) => {
        const value = route.value.params[parameter] ?? ""
        return (
          <span key={parameter} class="filter">
            <span class="name">{m.filteredBy(name, value === "" ? m.unknown : visible(value))}</span>
            <button type="button" aria-label={m.removeFilter(name)} onClick={() => change({ [parameter]: undefined })}>×</button>
          </span>
        )
      })}
    </div>
  )
}
