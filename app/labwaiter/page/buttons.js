(function (given) {
  "use strict";
  var root = document.documentElement;
  function send(what) {
    var form = document.getElementById("buttons");
    var to = given || {address: form.getAttribute("action"), key: form.elements.key.value};
    var body = "key=" + encodeURIComponent(to.key);
    for (var name in what) body += "&" + name + "=" + encodeURIComponent(what[name]);
    return fetch(to.address, {
      method: "POST", mode: "cors", credentials: "omit", referrerPolicy: "no-referrer", cache: "no-store",
      keepalive: body.length < 60000, body: body,
      headers: {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    }).then(function (answer) { return answer.json(); }, function () {
      throw new Error("No answer came: this page may not call its service, or that is away.");
    }).then(function (said) {
      if (said.why) throw new Error(said.why);
      return said;
    });
  }
  window.notify_running_job = function (message) {
    return send({message: String(message)}).then(function (said) { return said.response; });
  };
  if (given) return;
  root.className += " scripted";
  document.addEventListener("click", function (event) {
    var button = event.target.closest ? event.target.closest("#buttons button") : null;
    if (!button) return;
    event.preventDefault();
    var form = document.getElementById("buttons"), line = form.querySelector("[role=status]");
    if (form.getAttribute("aria-busy")) return;
    form.setAttribute("aria-busy", "true");
    line.className = "said";
    line.textContent = button.getAttribute("data-sends") + "\u2026";
    var what = {};
    what[button.name] = button.value;
    send(what).then(function (said) {
      line.textContent = said.words;
    }, function (error) {
      line.className = "said wrong";
      line.textContent = error.message;
      root.className = root.className.replace(" scripted", "");
    }).then(function () { form.removeAttribute("aria-busy"); });
  });
})(null);
