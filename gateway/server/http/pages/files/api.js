/* global SwaggerUIBundle */
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  // Nobody else is asked whether the description is valid.
  validatorUrl: null,
});
