// A page that is opened from a disk may not start a Web Worker, which the search needs. This worker runs the same
// script in a hidden frame of the page instead. Pages from a server keep the browser's own workers.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inner = frame.contentWindow
      inner.postMessage = (data) => this.receive(data)
      const script = frame.contentDocument.createElement("script")
      script.src = new URL(url, location.href).href
      script.onload = () => {
        this.inner = inner
        this.waiting.splice(0).forEach((data) => this.postMessage(data))
      }
      frame.contentDocument.body.append(script)
      this.frame = frame
    }
    receive(data) {
      const event = new MessageEvent("message", { data })
      setTimeout(() => {
        this.onmessage?.(event)
        this.dispatchEvent(event)
      })
    }
    postMessage(data) {
      if (this.inner) this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data }))
      else this.waiting.push(data)
    }
    terminate() {
      this.frame.remove()
    }
  }
}
