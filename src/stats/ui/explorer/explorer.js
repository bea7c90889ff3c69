// Points Swagger UI at this server's own description of its API.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");

// Swagger UI has its dark colours behind this class of the root element.
function followTheme() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

dark.addEventListener("change", followTheme);
followTheme();

SwaggerUIBundle({
  url: new URL("../../spec/v1/", document.baseURI).href,
  dom_id: "#explorer",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  // Nothing leaves this host: no validator elsewhere, no configuration from the page's address.
  validatorUrl: null,
  queryConfigEnabled: false,
  // The API is read-only.
  supportedSubmitMethods: ["get", "head"],
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
});
