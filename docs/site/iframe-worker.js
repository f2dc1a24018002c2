// From a disk no browser starts a worker: there the search runs in a frame.
if (location.protocol === "file:")
  window.Worker = class {
    constructor(url) {
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      this.inside = this.frame.contentWindow
      this.inside.postMessage = data => setTimeout(() => this.onmessage && this.onmessage({ data }))
      this.waiting = []
      const script = this.inside.document.createElement("script")
      script.src = new URL(url, location.href)
      script.onload = () => {
        const said = this.waiting
        this.waiting = null
        said.forEach(data => this.postMessage(data))
      }
      this.inside.document.body.append(script)
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data)
      else setTimeout(() => this.inside.onmessage({ data }))
    }
    terminate() {
      this.frame.remove()
    }
  }
