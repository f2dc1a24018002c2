"""The test client: calls an asynchronous service as a workflow manager does, knowing its WSDL alone."""
