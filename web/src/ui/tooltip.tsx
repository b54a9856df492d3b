import { signal } from "@preact/signals"
import { useLayoutEffect, useRef } from "preact/hooks"

interface Tip {
  lines: [string, string][]
  title: string
  at: DOMRect
}

const tip = signal<Tip | null>(null)

export function hideTip(): void {
  tip.value = null
}

addEventListener("keydown", (event) => event.key === "Escape" && hideTip())
addEventListener("scroll", hideTip, { capture: true, passive: true })
addEventListener("hashchange", hideTip)

/** What an element needs so that a tip is shown while it is pointed at or focused. */
export function tipOf(title: string, lines: () => [string, string][]) {
  const show = (event: Event) => {
    tip.value = { title, lines: lines(), at: (event.currentTarget as Element).getBoundingClientRect() }
  }
  return { onPointerEnter: show, onPointerLeave: hideTip, onFocus: show, onBlur: hideTip }
}

/** The tip: for the eye only, as what it says is in the label of its element. */
export function Tooltip() {
  const element = useRef<HTMLDivElement>(null)
  const shown = tip.value
  useLayoutEffect(() => {
    const own = element.current
    if (!own || !shown) return
    const { width, height } = own.getBoundingClientRect()
    const left = Math.min(Math.max(8, shown.at.left + shown.at.width / 2 - width / 2), innerWidth - width - 8)
    const below = shown.at.bottom + 6
    own.style.left = `${left}px`
    own.style.top = `${below + height > innerHeight ? Math.max(8, shown.at.top - height - 6) : below}px`
  }, [shown])
  if (!shown) return null
  return (
    <div class="tooltip" ref={element} aria-hidden="true">
      <b>{shown.title}</b>
      <dl>{shown.lines.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
    </div>
  )
}
