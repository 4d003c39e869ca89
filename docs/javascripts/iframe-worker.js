// Search in pages that are opened as files. A browser starts no web worker from file://, so the
// search's script runs in a hidden frame instead, which has the interface of a worker: messages in
// both directions. Material loads this file before its own script (mkdocs.yml, `polyfills`).
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(script) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.loaded = new Promise((resolve) => {
        this.frame.addEventListener("load", () => this.#start(script, resolve), { once: true });
      });
      document.body.append(this.frame);
    }

    #start(script, resolve) {
      const inside = this.frame.contentWindow;
      // In a worker, postMessage takes the message alone and sends it to the page.
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const element = inside.document.createElement("script");
      element.addEventListener("load", resolve);
      element.src = new URL(script, location.href).href;
      inside.document.body.append(element);
    }

    // Messages wait for the script, in their order.
    postMessage(data) {
      this.loaded.then(() => {
        const inside = this.frame.contentWindow;
        inside.dispatchEvent(new inside.MessageEvent("message", { data }));
      });
    }

    terminate() {
      this.frame.remove();
    }
  };
}
